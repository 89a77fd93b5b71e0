// SPDX-License-Identifier: GPL-2.0
/*
 * host-cost - what exits of a guest cost the host's kernel: runs a VMM whose guest has
 * the lab's init, and prints "N exits, N instructions" for the guest's job, from its
 * first line to its last.
 *
 * Counted is what the kernel executes for the VMM's threads, KVM included, and neither
 * what the VMM does itself nor the guest.  QEMU's PMU counts instructions under -icount
 * alone.
 */
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

struct cost {
	unsigned long long exits, instructions;
};

static struct cost so_far(int counter)
{
	FILE *exits = fopen("/sys/kernel/debug/kvm/exits", "re");
	struct cost cost;

	must(exits && fscanf(exits, "%llu", &cost.exits) == 1, "debugfs, kvm/exits");
	fclose(exits);
	must(read(counter, &cost.instructions, sizeof(cost.instructions)) > 0, "the counter");
	return cost;
}

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.inherit = 1,
		.exclude_user = 1,
		.exclude_guest = 1,
	};
	struct cost start = { 0 }, end;
	char line[4096];
	int counter, out[2];
	FILE *console;
	pid_t vmm;

	must(argc > 1, "usage: host-cost VMM [ARG]...");
	must(!pipe(out), "pipe");
	vmm = fork();
	must(vmm >= 0, "fork");
	if (!vmm) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		/* Until it is counted */
		raise(SIGSTOP);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	waitpid(vmm, NULL, WUNTRACED);
	counter = syscall(SYS_perf_event_open, &attr, vmm, -1, -1, PERF_FLAG_FD_CLOEXEC);
	must(counter >= 0, "perf_event_open");
	kill(vmm, SIGCONT);

	close(out[1]);
	console = fdopen(out[0], "r");
	while (console && fgets(line, sizeof(line), console)) {
		if (!strncmp(line, "@@begin job", 11))
			start = so_far(counter);
		if (start.exits && !strncmp(line, "@@end job 0", 11)) {
			end = so_far(counter);
			printf("%llu exits, %llu instructions\n", end.exits - start.exits,
			       end.instructions - start.instructions);
			start.exits = 0;
		}
	}
	waitpid(vmm, NULL, 0);
	return 0;
}
