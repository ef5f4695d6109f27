"""About: who works here, with photo and bio."""
