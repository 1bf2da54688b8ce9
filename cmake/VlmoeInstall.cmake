# Install and package export; filled in beside src/CMakeLists.txt's targets.
