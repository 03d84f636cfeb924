# Builds, tests and installs oci-bind-hook. `make help` lists the targets.
# With a PREFIX other than /usr, engines have to be told of the hooks.d
# directory (podman: --hooks-dir).

PREFIX ?= /usr
DESTDIR ?=
CARGO ?= cargo
INSTALL ?= install

bindir = $(PREFIX)/libexec/oci/hooks.d
sbindir = $(PREFIX)/sbin
hooksdir = $(PREFIX)/share/containers/oci/hooks.d
mandir = $(PREFIX)/share/man/man8
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d
unitdir = $(PREFIX)/lib/systemd/system
udevdir = $(PREFIX)/lib/udev/rules.d
docdir = $(PREFIX)/share/doc/oci-bind-hook
# Where the binary looks, whatever the prefix.
sysconfdir = /etc/oci-bind-hook

# Where cargo puts what it builds.
target = $(or $(CARGO_TARGET_DIR),target)
binary = $(target)/release/oci-bind-hook
# What is tested: the binary that is shipped.
OCI_BIND_HOOK ?= $(abspath $(binary))

# What is installed to be read, at the same paths below docdir: links between them work.
documents = README.md tests/SEMANTICS.md $(wildcard docs/*.md docs/*.svg docs/examples/*)

# Every shell script, those without a suffix by name.
scripts = .ci/run tests/setup/deb-systemd-helper tests/setup/update-rc.d $(shell find ebpf tests packaging -name '*.sh' 2>/dev/null)

.PHONY: build build-echo build-trials build-tests demo run-tests test test-all test-engines test-faults test-kernels test-packages test-smoke fuzz mutants deb rpm dist bench lint lint-format lint-clippy lint-doc lint-shell ebpf ebpf-check install uninstall clean help
.DEFAULT_GOAL := build

##@ Use

# Linked statically: a dynamic linker takes longer than the hook does. The flag is
# for the binary alone, since cargo's macros cannot be static. CARGOFLAGS is for
# packages: --offline.
build: ## build the release binary
	$(CARGO) rustc --release --locked $(CARGOFLAGS) --package oci-bind-hook --bin oci-bind-hook -- \
	  --codegen target-feature=+crt-static

demo: ## show the main job with real containers (root)
	tests/demo.sh

##@ Test

# Runs parts of a plan, each under a time limit: tests/gate.
gate = tests/setup.sh build && $(CARGO) run --quiet --locked --package oci-bind-hook-gate --

test: ## run every test on this kernel (root)
	$(gate) test

test-all: ## run everything: all kernels, all engines, packages, long runs (root)
	$(gate) all

build-echo: # the server and the client in containers, linked statically
	$(CARGO) rustc --release --locked --package oci-bind-hook-echo -- --codegen target-feature=+crt-static

build-tests: build-echo build-trials

build-trials:
	$(CARGO) test --workspace --locked --no-run

run-tests:
	OCI_BIND_HOOK=$(OCI_BIND_HOOK) $(CARGO) test --workspace --locked --no-fail-fast

test-faults: build ## kill the hook, starve it and wear it out, at length (root)
	OCI_BIND_HOOK=$(OCI_BIND_HOOK) FAULTS=long $(CARGO) test --workspace --locked --test faults

# Each row once, on the oldest and the newest kernel.
test-smoke: ## run a selection of scenarios on two kernels, in virtual machines (root)
	KERNELS='5.10 newest' TESTS=scenarios SMOKE=yes tests/vm/kernels.sh

# FUZZ_SECONDS is how long in all, 60 unless told.
fuzz: ## look for input that breaks a parser or a decision
	tests/fuzz/run.sh

# FILTER selects files: see the script.
mutants: ## change the decisions and the parsers, and see a unit test fail
	tests/mutants.sh $(FILTER)

# FILTER selects tests, ENGINES engines, SYSTEMS systems: see the script.
test-engines: ## run engines on Debian stable and sid, in virtual machines (root)
	tests/vm/engines.sh $(if $(FILTER),'$(FILTER)')

# FILTER selects trials, KERNELS kernels: see the script.
test-kernels: ## run the scenarios on older and newer kernels, in virtual machines (root)
	tests/vm/kernels.sh $(if $(FILTER),'$(FILTER)')

test-packages: ## build, compare, install, upgrade and remove the packages (root)
	tests/packages.sh $(if $(FILTER),'$(FILTER)')

##@ Develop

# BENCH is one of them: calls, deliver, hook, packets, scale, steer. Tables on standard
# output; JSON and pictures in target/bench.
bench: build ## measure what starts, calls and packets cost, in minutes (root)
	OCI_BIND_HOOK=$(OCI_BIND_HOOK) $(CARGO) bench --locked --package oci-bind-hook-tests --bench '$(or $(BENCH),*)'

lint: lint-format lint-clippy lint-doc lint-shell ## check formatting, clippy, documentation and scripts

lint-format:
	$(CARGO) fmt --all --check

lint-clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings

lint-doc:
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --locked

lint-shell:
	tests/setup.sh lint
	shellcheck --external-sources --severity=warning $(scripts)

ebpf: ## rebuild the committed eBPF object
	ebpf/build.sh

ebpf-check: ## rebuild it and compare
	ebpf/build.sh --check

clean: ## remove what was built
	$(CARGO) clean

##@ Release

deb: ## build the Debian packages, source and binary, into target/packages
	packaging/deb/build.sh $(target)/packages

rpm: ## build the RPM packages, into target/packages
	packaging/rpm/build.sh $(target)/packages

dist: ## build all that a release has, with checksums, into target/dist
	rm -rf $(target)/dist
	packaging/dist.sh $(target)/dist

##@ Use

# install-with-path NAME,FILE: a file of config/ that names the binary.
define install-with-path
sed 's|/usr/libexec/oci/hooks.d/|$(bindir)/|' config/$(1) >$(DESTDIR)$(2)
chmod 0644 $(DESTDIR)$(2)
endef

# The binary comes first, and goes last: engines ignore a hooks.d file whose
# binary is missing, and would start annotated containers without a policy. For
# that reason too a rename puts each in its place, also when both are there.
# No build here: root installs what was built before.
install: ## install below $(DESTDIR)$(PREFIX); run make first
	@test -x $(binary) || { echo "no $(binary): run make first" >&2; exit 1; }
	$(INSTALL) -D -m 0755 $(binary) $(DESTDIR)$(bindir)/.oci-bind-hook.new
	mv -f $(DESTDIR)$(bindir)/.oci-bind-hook.new $(DESTDIR)$(bindir)/oci-bind-hook
	$(INSTALL) -d -m 0755 $(DESTDIR)$(sbindir)
	ln -sfr $(DESTDIR)$(bindir)/oci-bind-hook $(DESTDIR)$(sbindir)/oci-bind-hook
	test -e $(DESTDIR)$(sysconfdir)/config.toml || \
		$(INSTALL) -D -m 0644 config/config.toml $(DESTDIR)$(sysconfdir)/config.toml
	$(INSTALL) -d -m 0755 $(DESTDIR)$(mandir)
	$(INSTALL) -m 0644 packaging/man/*.8 $(DESTDIR)$(mandir)
	$(INSTALL) -D -m 0644 packaging/completions/oci-bind-hook.bash $(DESTDIR)$(bashdir)/oci-bind-hook
	$(INSTALL) -D -m 0644 packaging/completions/_oci-bind-hook $(DESTDIR)$(zshdir)/_oci-bind-hook
	$(INSTALL) -D -m 0644 packaging/completions/oci-bind-hook.fish $(DESTDIR)$(fishdir)/oci-bind-hook.fish
	$(INSTALL) -d -m 0755 $(DESTDIR)$(unitdir) $(DESTDIR)$(udevdir) $(DESTDIR)$(docdir)/examples
	$(call install-with-path,oci-bind-hook.service,$(unitdir)/oci-bind-hook.service)
	$(call install-with-path,80-oci-bind-hook.rules,$(udevdir)/80-oci-bind-hook.rules)
	$(call install-with-path,oci-bind-hook.cdi.json,$(docdir)/examples/oci-bind-hook.cdi.json)
	$(call install-with-path,all-containers.json,$(docdir)/examples/all-containers.json)
	$(INSTALL) -m 0644 config/kubernetes-pod.yaml $(DESTDIR)$(docdir)/examples
	for file in $(documents); do \
	  $(INSTALL) -D -m 0644 $$file $(DESTDIR)$(docdir)/$$file || exit; \
	done
	$(INSTALL) -d -m 0755 $(DESTDIR)$(hooksdir)
	$(call install-with-path,oci-bind-hook.json,$(hooksdir)/.oci-bind-hook.json.new)
	mv -f $(DESTDIR)$(hooksdir)/.oci-bind-hook.json.new $(DESTDIR)$(hooksdir)/oci-bind-hook.json

uninstall: ## remove it again, except for a changed configuration
	rm -f $(DESTDIR)$(hooksdir)/oci-bind-hook.json
	rm -f $(DESTDIR)$(sbindir)/oci-bind-hook
	rm -f $(DESTDIR)$(bindir)/oci-bind-hook
	rm -f $(addprefix $(DESTDIR)$(mandir)/,$(notdir $(wildcard packaging/man/*.8)))
	rm -f $(DESTDIR)$(bashdir)/oci-bind-hook $(DESTDIR)$(zshdir)/_oci-bind-hook
	rm -f $(DESTDIR)$(fishdir)/oci-bind-hook.fish
	rm -f $(DESTDIR)$(unitdir)/oci-bind-hook.service $(DESTDIR)$(udevdir)/80-oci-bind-hook.rules
	rm -rf $(DESTDIR)$(docdir)
	! cmp -s config/config.toml $(DESTDIR)$(sysconfdir)/config.toml || \
		rm -f $(DESTDIR)$(sysconfdir)/config.toml
	-rmdir $(DESTDIR)$(sysconfdir) 2>/dev/null

# By the groups that begin with a line like `##@ Test`, in their order.
help: ## show this
	@awk -F ':.*## ' ' \
	  /^##@ / { group = substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { \
	    if (!(group in targets)) groups[++count] = group; \
	    targets[group] = targets[group] sprintf("  make %-14s %s\n", $$1, $$2) \
	  } \
	  END { for (i = 1; i <= count; i++) printf "%s\n%s\n", groups[i], targets[groups[i]] }' $(MAKEFILE_LIST)
	@echo "PREFIX=$(PREFIX) and DESTDIR=$(DESTDIR) are honoured."
