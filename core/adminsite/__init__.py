"""What every page of the admin shares: base classes, templates, styles and scripts. They know no app."""
