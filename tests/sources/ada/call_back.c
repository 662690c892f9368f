void call_back(void (*f)(void)) { f(); }
