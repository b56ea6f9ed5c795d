"""What does the activation function do to a Transformer language model, and is the difference real?"""

__version__ = "0.1.0"
