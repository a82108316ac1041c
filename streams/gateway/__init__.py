"""HTTP, server-sent events and the page: what people and scripts see of the twins."""
