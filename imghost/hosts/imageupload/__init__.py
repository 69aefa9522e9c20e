"""imageupload.io: uploads by REST, and its tools (MCP) for what REST does not have."""

from imghost.hosts.imageupload.host import ImageUpload
from imghost.hosts.imageupload.options import ImageUploadOptions

__all__ = ["ImageUpload", "ImageUploadOptions"]
