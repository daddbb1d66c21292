"""What bench/rows.py lets pass: rows whose losses are missing, not finite or others get no time."""
import math
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import rows  # noqa: E402


def result(ms, losses=()):
    return {"median_ms": ms, "min_ms": ms, "first_ms": ms, "peak_mb": ms, "losses": list(losses)}


class Rows(unittest.TestCase):
    def test_losses(self):
        self.assertAlmostEqual(rows.losses_differ([1.0, 2.02], [1.0, 2.0]), 0.01)
        for got in ([], [1.0], [1.0, None], [1.0, math.nan], [1.0, math.inf]):
            self.assertEqual(rows.losses_differ(got, [1.0, 2.0]), math.inf, got)
        self.assertEqual(rows.losses_differ([1.0], [math.nan]), math.inf)

    def test_ratios(self):
        times = {"hebb": result(2), "torch-eager": result(6), "torch-compile": result(5), "jax": result(4)}
        row = rows.row_of("lenet-b64", "f32", times, {}, {}, None)
        self.assertEqual((row["ratio"], row["pytorch_ratio"], row["best_peer"]), (2, 2.5, "jax"))
        self.assertEqual((row["peer_peak_mb"], row["pytorch_peak_mb"]), (4, 5))

    def test_who_is_left_out_has_no_time(self):
        times = {"hebb": result(2), "torch-eager": result(6)}
        self.assertNotIn("hebb_ms", rows.row_of("lenet-b64", "f32", times, {"hebb": "other losses"}, {}, None))
        self.assertNotIn("hebb_ms", rows.row_of("lenet-b64", "f32", {"hebb": result(2)}, {}, {}, None))


if __name__ == "__main__":
    unittest.main()
