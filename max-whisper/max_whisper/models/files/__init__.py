"""File formats of published weights, read without the framework that wrote them."""
