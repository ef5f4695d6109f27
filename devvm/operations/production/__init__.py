"""What production is: captured, reviewed, with its waivers."""
