"""Two models of scikit-learn's own data, trained as `/train` of the model server does: the smallest workload."""
