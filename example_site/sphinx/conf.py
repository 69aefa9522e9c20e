"""Configuration of the handbook: Sphinx with the Furo theme."""

project = "Meteo One Handbook"
author = "Meteo One"
project_copyright = "Meteo One is an invented product"
release = version = "2.3"

extensions = ["sphinx_imghost"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "furo"
html_title = "Meteo One Handbook"
html_baseurl = "https://docs.example.com/meteo-one-handbook/"
# Templates do not know `html_baseurl`, and a page's card must be named with its full address.
html_context = {"cards": f"{html_baseurl}_static/"}
html_use_index = False
html_logo = "../images/logo.svg"
html_favicon = "../images/favicon.png"
# The images are also there under fixed names: raw HTML and templates refer to them as `_static/NAME`.
html_static_path = ["_static", "../images"]
html_css_files = ["handbook.css"]
html_js_files = ["lazy.js"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f7c8a", "color-brand-content": "#0f7c8a"},
    "dark_css_variables": {"color-brand-primary": "#3cc0cc", "color-brand-content": "#3cc0cc"},
}

# Needs no account and no network: the images move to a folder of the site.
imghost_host = "directory"
imghost_report = "../report-sphinx.html"
# The images lie beside this folder; within one git checkout this line is not needed.
imghost_sources = ["../images"]
