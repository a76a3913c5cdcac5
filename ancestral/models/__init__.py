"""Every generative model of the library, one system per file."""

from ancestral.models.base import Model
from ancestral.models.registry import create, get, names, register

__all__ = ["Model", "create", "get", "names", "register"]
