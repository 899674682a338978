"""What the service can be asked and may answer: rows, and the document that is made of them."""
