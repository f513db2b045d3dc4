"""What hptune is measured by. Nothing of the package imports from here."""
