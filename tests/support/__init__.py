"""What several test modules share: fixtures, fakes and builders of valid input."""
