#pragma once
extern thread_local int there;
int work(int);
