"""Update a VM to another release."""
