# The three commands of CONTRIBUTING.md. ./test and ./mel do the same without make.
.PHONY: check test fix lock tools

check: tools
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright
	.venv/bin/lint-imports --no-cache --no-logo

test:
	./test

fix: tools
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock:
	scripts/lock

tools:
	@./test --quick --version >/dev/null
