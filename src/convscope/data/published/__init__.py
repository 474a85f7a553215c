"""The data sets that have a name: found or downloaded, checked, unpacked."""
