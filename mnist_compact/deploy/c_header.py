"""The parts that the headers of both C programs share, and the files that belong to them."""

from collections.abc import Iterable, Sequence
from importlib.resources import files

from mnist_compact.deploy.steps import Kind, Steps
from mnist_compact.models.layers import Activation

PREFIX = "NETWORK_"


def shipped(name: str) -> str:
    """Return the text of a C file of the package."""
    return (files(__package__) / "c" / name).read_text(encoding="utf-8")


def constants(steps: Steps, more: Iterable[tuple[str, object]]) -> str:
    """Return the #define lines: numbers of the kinds and activations, sizes, and `more` names with their values."""
    lines: list[tuple[str, object]] = [(kind.name, kind.value) for kind in Kind]
    lines += [(activation.name.upper(), number) for number, activation in enumerate(Activation)]
    lines += [
        ("ACTIVATION", PREFIX + steps.activation.name.upper()),
        ("STEPS", len(steps.steps)),
        ("MEMORY", steps.memory),
        ("LONGEST_ROW", max(each.side for each in steps.maps)),
        *more,
    ]
    return "".join(f"#define {PREFIX}{name} {value}\n" for name, value in lines)


def array(kind: str, name: str, values: Sequence[object]) -> str:
    """Return a constant array, several values in a line."""
    lines: list[str] = [""]
    for value in values:
        word = f"{value}, "
        if len(lines[-1]) + len(word) > 110:
            lines.append("")
        lines[-1] += word
    body = "\n    ".join(line.rstrip() for line in lines)
    return f"static const {kind} {name}[{len(values)}] = {{\n    {body}\n}};\n"


def header(about: str, logit: str, definitions: str, with_weights: str) -> str:
    """Return the header of a network.

    Args:
        about: What the comment at its head says.
        logit: C type of a logit.
        definitions: The #define lines.
        with_weights: Types and arrays, which only network.c sees.
    """
    comment = "\n * ".join(about.splitlines())
    return f"""\
/* {comment} */

#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

typedef {logit} network_logit;

/* The ten logits of an image of 28x28 grey levels in rows from the top: a light digit on black, as in MNIST. */
void network_logits(const uint8_t pixels[784], network_logit logits[10]);

/* The digit with the largest logit. */
int network_classify(const uint8_t pixels[784]);

#ifdef NETWORK_WITH_WEIGHTS

{definitions}
{with_weights}
#endif /* NETWORK_WITH_WEIGHTS */
#endif /* NETWORK_H */
"""
