"""Drawings of an invented weather station, Meteo One: its screens, its parts and the hill it stands on."""
