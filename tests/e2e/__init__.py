"""Tests of whole journeys through the programs."""
