"""Names that Python 3.12 has removed and that carbon and graphite-web 1.1.10 still use.

The modules `imp` and `cgi`, removed too, come from the packages zombie-imp and legacy-cgi.
"""

import configparser

if not hasattr(configparser, "SafeConfigParser"):
    # Renamed in Python 3.2.
    configparser.SafeConfigParser = configparser.ConfigParser
if not hasattr(configparser.RawConfigParser, "readfp"):
    # Used while they are installed.
    configparser.RawConfigParser.readfp = configparser.RawConfigParser.read_file
