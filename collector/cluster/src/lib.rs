//! Watches the API server or files and keeps the objects current.
