"""A network drawn: which layer and place its boxes have, and the page that shows them."""
