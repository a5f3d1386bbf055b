from lens_truth.harnesses.lm_eval_cli import launch

launch(__name__)
