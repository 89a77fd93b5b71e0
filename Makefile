# SPDX-License-Identifier: GPL-2.0-only
# The front door: one rule a command. Each runs a script of the same name in the toolbox.

lab := scripts/toolbox

# The list before and after, on two booted kernels
demo: kernels
	@$(lab) scripts/demo

# Every test; the last line is "N passed, N failed, N skipped"
check: kernels
	@$(lab) scripts/check

# Our selftests on a kernel with KASAN, lockdep, UBSAN and kmemleak: half an hour
check-debug: kernels
	@$(lab) scripts/check "debug kernel"

# Our selftests on kernels without SME, without SVE, with CFI, and over hibernation: three quarters of an hour
check-configs: kernels
	@$(lab) scripts/check "without CONFIG_" "with CFI" "hibernation"

# The series for upstream, in build/series/, every patch built and checked
series: bench
	@$(lab) scripts/series

# Instructions per call, patched against unpatched
bench: kernels
	@$(lab) scripts/bench

# make fuzz [N=EXECUTIONS] [WHAT=core|library]: the Rust core, or what reads the library's files, on this
# machine; 100 million take a quarter of an hour
fuzz:
	@$(lab) scripts/fuzz $(or $(N),100000000) $(WHAT)

# make fuzz-kvm [N=STEPS] [SEED=S]: vCPUs on the debug kernel, random calls from several threads
fuzz-kvm: kernels
	@$(lab) scripts/fuzz-kvm $(or $(N),1000000) $(SEED)

# Breaks the kernel in one place at a time, and shows which tests see it: about 40 minutes
mutants: kernels
	@$(lab) scripts/mutate

# Which registers depend on one another, by experiment on every kind of vCPU: 20 minutes
depgraph: kernels
	@$(lab) scripts/depgraph

# Style of sources and patches
lint: tree
	@$(lab) scripts/lint

# make boot RUN=PROGRAM [ARGS="..."] [CPU=...] [KVM=...] [IMAGE=...] [ICOUNT=1]
boot: kernels
	@$(lab) scripts/boot $(if $(RUN),"$(RUN)") $(ARGS)

# The API of the library against that of the commit which set its version
semver:
	@$(lab) env CARGO_TARGET_DIR=$(CURDIR)/build/library make -C tools-lib-arm64-vl semver

shell: kernels
	@SHELL_IN_GUEST=1 $(lab) env SHELL_IN_GUEST=1 scripts/boot scripts/guest/shell

# make apply KDIR=TREE: the series on your own kernel tree
apply:
	@$(lab) scripts/apply "$(KDIR)"

# The patched tree as a git repository, build/linux, to work in; refresh brings commits back
tree:
	@$(lab) scripts/tree
refresh:
	@$(lab) scripts/refresh

# make modules KDIR=BUILD: the ordering core and its KUnit suite for a kernel that is there
modules:
	@$(lab) scripts/modules "$(KDIR)"

kernels: tree
	@$(lab) scripts/build-kernel $(CURDIR)/build/linux/out patched
	@$(lab) scripts/guest-programs

clean:
	rm -rf build

.PHONY: demo check check-debug check-configs series bench fuzz fuzz-kvm mutants depgraph lint semver boot shell apply tree refresh modules kernels clean
