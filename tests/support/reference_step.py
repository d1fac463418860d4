"""reference_step.py DIRECTORY: takes one training step of the model in reference_model.py on what the
test has written there, and compares loss and gradients with those of the C++ step."""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from reference_model import PinnerFormer, sampled_softmax

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


def part(tensors, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def own_labels(labels, rows, pool):
    """[rows, N]: the column's item is a label of the row. labels [L, 2] are (row, item)."""
    mask = torch.zeros(rows, len(pool), dtype=torch.bool)
    for row, item in labels.tolist():
        mask[row] |= pool == item
    return mask


def main(directory):
    step = json.loads((directory / "step.json").read_text())
    tensors = load_file(directory / "step.safetensors")
    model = PinnerFormer(tensors["item_vectors"], **step["model"])
    model.load_state_dict(part(tensors, "weight."))
    batch, pairs, drawn = part(tensors, "batch."), part(tensors, "pair."), part(tensors, "pool.")
    drawn["mask"] = own_labels(tensors["labels"], len(batch["length"]), drawn["item"])
    user, positive, pool = model(batch, pairs, drawn["item"])
    loss = sampled_softmax(user, positive, pool, model.inverse_temperature(), pairs, drawn,
                           step["users_with_pairs"])
    loss.backward()

    wrong = []
    if abs(loss.item() - step["loss"]) > LOSS_TOLERANCE * abs(loss.item()):
        wrong.append(f"loss {step['loss']}, PyTorch has {loss.item()}")
    expected, largest = part(tensors, "gradient."), 0.0
    scale = torch.cat([gradient.flatten() for gradient in expected.values()]).norm().item()
    for name, parameter in model.named_parameters():
        error = (parameter.grad - expected.pop(name)).norm().item()
        # A gradient that is zero but for rounding (the bias of the keys) has no relative error.
        relative = error / max(parameter.grad.norm().item(), 5e-4 * scale)
        largest = max(largest, relative)
        if not relative <= GRADIENT_TOLERANCE:
            wrong.append(f"gradient of {name} is off by {relative:.2e} of its length")
    wrong += [f"PyTorch has no parameter {name}" for name in expected]
    print("\n".join(wrong) or f"loss {loss.item():.6f}, largest error of a gradient {largest:.1e}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
