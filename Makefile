# SPDX-License-Identifier: GPL-2.0-only
# The front door: a rule a command. scripts/toolbox runs each where the tools are; what moves things is a
# bash script in scripts/, what judges is Python in scripts/lab/.

lab := scripts/toolbox
check := $(lab) scripts/lab/check.py $(if $(LIST),--list) $(if $(ONLY),--only "$(ONLY)") $(if $(TEST),--test "$(TEST)")

# GROUPS="fixes reg-list": make itself, tree, boot and shell with these groups of patches/ alone, in a tree of their own.
# To series and apply it says what to mail or to apply, and their tree is the whole one. All else tests all groups.
space := $(subst ,, )
groups := $(if $(filter series apply,$(MAKECMDGOALS)),,$(GROUPS))
export TREE := $(CURDIR)/build/linux$(if $(groups),-$(subst $(space),+,$(strip $(groups))))
no_groups := $(if $(GROUPS),$(filter-out demo tree kernels boot shell series apply,$(MAKECMDGOALS)))
$(if $(no_groups),$(error make $(no_groups) takes no GROUPS=: it is of all groups))

# The list before and after, on two booted kernels
demo: kernels
	@$(lab) scripts/lab/demo.py

# make check [ONLY="words of a suite's name"] [TEST="PROGRAM [CASE]"] [LIST=1]: the tests; the last line is
# "N passed, N failed, N skipped"
check:
	@$(check)

# The same with every kind of vCPU on every machine in every mode, and all that takes long: hours
check-all:
	@$(check) --all

# Our selftests on a kernel with KASAN, lockdep, UBSAN and kmemleak: half an hour and more
check-debug:
	@$(lab) scripts/lab/check.py --only "debug kernel"

# Our selftests on kernels without SME, without SVE, with CFI, and over hibernation: three quarters of an hour
check-configs:
	@$(lab) scripts/lab/check.py --only "configuration | hibernation"

# make series [GROUPS="THREAD..."]: the mails for upstream, a folder a thread in build/series/, every patch built and
# checked; KDIR=TREE: on a kernel tree of your own, unbuilt
series: $(if $(KDIR),,bench)
	@$(lab) scripts/series $(if $(KDIR),--on "$(KDIR)") $(GROUPS)

# Instructions per call, patched against unpatched
bench: kernels
	@$(lab) scripts/lab/bench.py

# Puts what the commands printed last into README.md
readme:
	@$(lab) scripts/lab/readme.py

# make fuzz [N=EXECUTIONS] [WHAT=core|library]: the Rust core, or what reads the library's files, on this
# machine; 100 million take a quarter of an hour
fuzz:
	@$(lab) scripts/fuzz $(or $(N),100000000) $(WHAT)

# make fuzz-kvm [N=STEPS] [SEED=S]: vCPUs on the debug kernel, random calls from several threads
fuzz-kvm: kernels
	@$(lab) scripts/fuzz-kvm $(or $(N),1000000) $(SEED)

# make mutants [ONLY=WORD] [ALL_TESTS=1]: breaks the kernel in one place at a time, and shows which test sees it
mutants: kernels
	@$(lab) scripts/lab/mutants.py $(ONLY)

# make depgraph [IDS=1]: which registers depend on one another, by experiment on every kind of vCPU: 20 minutes;
# IDS=1: the ids that it has seen become the selftests' known_ids.txt
depgraph: kernels
	@$(lab) scripts/lab/depgraph.py $(if $(IDS),--write-ids)

# Style of sources, scripts and patches
lint: kernels
	@$(lab) scripts/lint

# make boot RUN=PROGRAM [ARGS="..."] [CPU=MACHINE] [KVM=MODE] [IMAGE=...] [ICOUNT=1] [BOOT_DIR=FOLDER] [GROUPS="..."]
boot: kernels
	@$(lab) scripts/boot $(if $(RUN),"$(RUN)") $(ARGS)

# The API of the library against that of the commit which set its version
semver:
	@$(lab) env CARGO_TARGET_DIR=$(CURDIR)/build/library make -C arm64-vl semver

shell: kernels
	@SHELL_IN_GUEST=1 $(lab) scripts/boot scripts/guest/shell

# make apply KDIR=TREE [GROUPS="..."]: the series on your own kernel tree
apply:
	@$(lab) scripts/apply "$(KDIR)" $(GROUPS)

# The patched tree as a git repository, build/linux, to work in; refresh brings commits back
tree:
	@$(lab) scripts/tree $(groups)
refresh:
	@$(lab) scripts/refresh

# make modules KDIR=BUILD: the ordering core and its KUnit suite for a kernel that is there
modules:
	@$(lab) scripts/build-module "$(KDIR)"

# The patched kernel and what runs in it beside the tests
kernels: tree
	@$(lab) scripts/build-kernel $(TREE)/out $(notdir $(subst linux,patched,$(TREE)))
	@$(lab) scripts/build-guest

clean:
	rm -rf build

.PHONY: demo check check-all check-debug check-configs series bench readme fuzz fuzz-kvm mutants depgraph lint semver \
	boot shell apply tree refresh modules kernels clean
