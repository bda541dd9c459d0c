"""A student outside this program: behind servers, in llama.cpp, in Ollama.

folder      one student as servers take it
students    who writes for a step, loaded here or behind servers
servers     a run's own: started, told of adapters, ended
elsewhere   what servers are told, and asked, while they run
process     one that is started, waited for and ended
said        what served students say
gguf        a folder as llama.cpp's file, by its own converter
converter   the program that runs it
llama       the program that serves such a file
modelfile   how Ollama is to ask it
check       greedy answers of what came of a student beside the run's own
"""
