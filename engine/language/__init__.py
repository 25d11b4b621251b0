"""The playbook and the inventory as languages: reading, checking, and saying what is wrong with them."""
