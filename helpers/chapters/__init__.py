"""What each chapter of the book needs: sizes and models."""
