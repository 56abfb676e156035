"""What is known of a text by itself: its characters, its wording, whether it declines, whether it says anything."""
