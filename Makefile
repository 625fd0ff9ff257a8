# Everything works on a machine that has nothing but Python 3.11 (or newer) with its venv module.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
# The versions that were tested; empty for the newest there are.
PINS   ?= constraints.txt

.PHONY: demo test test-without-onednn newest oldest check bench fuzz clean
.DEFAULT_GOAL := demo

# Converts a real network that comes with the onnx package.
demo: $(READY)
	@mkdir -p out
	@cp "$$($(BIN)/python -c 'import onnx, pathlib; print(pathlib.Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx")')" out/resnet50.onnx
	$(BIN)/onnx-nhwc out/resnet50.onnx out/resnet50_nhwc.onnx --explain

test: $(READY)
	$(BIN)/python -m pytest -n auto -q
	$(MAKE) test-without-onednn

# Keras models once more, on TensorFlow as older CPUs have it. The tests above have oneDNN unless
# TF_ENABLE_ONEDNN_OPTS says otherwise.
test-without-onednn: $(READY)
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest -n auto -q $(addprefix tests/,$(addsuffix .py, \
		export/test_keras_first export/test_keras_transposed export/test_keras_whole \
		load/test_keras_in load/test_keras_layers doors/test_readme))

# The same tests with what is newest today, and with the oldest versions that setup.cfg admits.
newest:
	rm -f .venv-newest/.ready
	$(MAKE) test VENV=.venv-newest PINS=

oldest:
	$(MAKE) test VENV=.venv-oldest PINS=constraints-oldest.txt

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

fuzz: $(READY)
	$(BIN)/python -m pytest -n auto -q tests/networks/test_fuzz.py --hypothesis-profile=fuzz
	ONNX_NHWC_ALL_CASES=1 $(BIN)/python -m pytest -n auto -q tests/networks/test_operator_cases.py tests/export/test_keras.py \
		tests/load/test_keras_applications.py tests/export/test_keras_files.py

# Set up once, and again when the dependencies change.
$(READY): setup.cfg pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(PINS)) --upgrade --editable '.[dev,keras]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest out build dist *.egg-info
