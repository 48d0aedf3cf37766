"""The Debian package of edge-agent: made by dpkg-deb alone, from wheels and deploy/deb."""
