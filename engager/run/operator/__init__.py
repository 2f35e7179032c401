"""What an operator does with runs from outside: signals and commands, questions, and a request to oneself."""
