int tentative; int unused_here = 3;
