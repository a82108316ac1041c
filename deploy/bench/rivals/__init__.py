"""The same job in other stream frameworks: what `make bench-rivals` holds livetwin against. No part of livetwin runs this."""
