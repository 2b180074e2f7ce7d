"""Tables, plots, picture sheets and the page: what people look at. No figure is computed here."""
