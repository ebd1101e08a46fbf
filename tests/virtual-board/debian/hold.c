// hold THREAD SECONDS: stops one thread of another process, as a driver does that does not return from the kernel.
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t thread;

	if (argc != 3) {
		fputs("usage: hold THREAD SECONDS\n", stderr);
		return 2;
	}
	thread = atoi(argv[1]);
	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) || ptrace(PTRACE_INTERRUPT, thread, NULL, NULL)) {
		perror("ptrace");
		return 1;
	}
	// Ends early when nobody holds it any more; the thread goes on when we end.
	sleep(atoi(argv[2]));
	return 0;
}
