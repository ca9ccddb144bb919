# For the hands that type make: every target is the script of the same purpose
# under shared/scripts, which is where options and Windows twins are.
.PHONY: setup build run test proto clean format lint

setup:
	./shared/scripts/setup-all.sh
build:
	./shared/scripts/build-all.sh
run:
	./shared/scripts/run-all.sh
test:
	./shared/scripts/test-all.sh
proto:
	./shared/scripts/proto-gen.sh
clean:
	./shared/scripts/clean-all.sh
format:
	./shared/scripts/format-all.sh
lint:
	./shared/scripts/lint-all.sh
