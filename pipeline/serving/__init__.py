"""A student outside this program: in a folder that servers read, in llama.cpp, in Ollama.

folder      one student as servers take it
gguf        that folder as llama.cpp's file, by its own converter
converter   the program that runs it
modelfile   how Ollama is to ask it
llama       the program that serves such a file
process     a server that is started, waited for and ended
check       greedy answers of what came of it beside the run's own
"""
