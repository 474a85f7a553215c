"""What a training begins with, and what it does to images: measured on them."""
