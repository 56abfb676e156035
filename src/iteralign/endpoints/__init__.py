"""Calls of OpenAI-compatible servers, whoever asks: one client with one set of protections."""
