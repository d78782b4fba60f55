"""The numexpr release whose rules tinyweave.numexpr follows."""

import platform

version = "2.14.2"
platform_machine = platform.machine()
