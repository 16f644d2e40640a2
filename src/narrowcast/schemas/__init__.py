"""What files hold, byte by byte: schemas as tables, and readers that check every number before they follow it."""
