"""Features of images for other methods: of any network, of images of any kind."""
