"""Lock services to test with: files, and those of Debian, each started on loopback and stopped by its pid."""
