"""How the suite is deployed: images, manifests, and a whole stack on one machine."""
