"""img.pro, in both generations of its API."""

from imghost.hosts.imgpro.host import ImgPro
from imghost.hosts.imgpro.options import ImgProOptions

__all__ = ["ImgPro", "ImgProOptions"]
